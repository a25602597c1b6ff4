"""Whether the simulated card refuses mixed devices in CUDA PyTorch's own words.

The first cases are genuine messages, read from PyTorch's CUDA build. The others are derived by hand from PyTorch's sources; each
group names the file (under aten/src/ATen/native unless it begins with another folder) in which the check and its words stand.
"""

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from devicelab.simgpu import simulate_gpu
from devicelab.simgpu.rules.functions import limits_by_tensor
from devicelab.simgpu.rules.refusals import IMPROVE
from devicelab.versions import release

GENUINE = json.loads((Path(__file__).parents[1] / "data" / "cuda_error_messages.json").read_text())["cases"]
L = torch.long


def C(*size, dtype=torch.float32):
    return torch.zeros(size, dtype=dtype, device="cuda")


def D(*size, dtype=torch.float32):
    return torch.zeros(size, dtype=dtype, device="cuda:1")


def c(*size, dtype=torch.float32):
    return torch.zeros(size, dtype=dtype)


def stepped(make, start, then, dtype=torch.float32, **options):
    """Train one step on `start`, move the model, and train another: the optimizer's state stays behind."""
    layer = nn.Linear(3, 2, dtype=dtype).to(start)
    optimizer = make(layer.parameters(), **options)
    for device in (start, then):
        layer.to(device)
        optimizer.zero_grad()
        layer(torch.ones(4, 3, dtype=dtype, device=device)).sum().backward()
        optimizer.step()
    return layer.weight


def quiet(function, *arguments):
    """Call without gradients: transformers then take their fast path."""
    with torch.no_grad():
        return function(*arguments)


class Doubled(torch.autograd.Function):
    """A function whose backward forgets the device."""

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        return torch.full(gradient.shape, 2.0)


NAMES = {
    "C": C,
    "D": D,
    "Doubled": Doubled,
    "F": F,
    "L": L,
    "c": c,
    "nn": nn,
    "quiet": quiet,
    "stepped": stepped,
    "torch": torch,
}


def checked(argument, device, common, wrapper):
    """Family A: what torchgen's generated check says (torchgen/dest/register_dispatch_key.py, ATen/core/adaption.cpp)."""
    return (
        f"Expected all tensors to be on the same device, but got {argument} is on {device}, different from other tensors on "
        f"{common} (when checking argument in method wrapper_CUDA_{wrapper})"
    )


def asserted(number, file="Loops"):
    """What `gpu_kernel` says of a 0-dim CPU operand (libtorch_cuda.so); the number of the line in PyTorch's file is left out."""
    return (
        f'iter.device(arg).is_cuda() INTERNAL ASSERT FAILED at "/pytorch/aten/src/ATen/native/cuda/{file}.cuh", please '
        f"report a bug to PyTorch. argument {number}: expected a CUDA device but found cpu"
    )


def two(common="cuda:0", other="cpu"):
    """Family B: what TensorIterator says (ATen/TensorIterator.cpp, compute_types)."""
    return f"Expected all tensors to be on the same device, but found at least two devices, {common} and {other}!"


GPU, CPU = "cuda:0", "cpu"
LIMITS = limits_by_tensor()
SAME_TYPE = "Input type (torch.{}FloatTensor) and {} type (torch.{}FloatTensor) should be the same"
ONEDNN = " or input should be a MKLDNN tensor and {} is a dense tensor"
RNN = "Input and {} tensors are not at the same device, found input tensor at {} and {} tensor at {}"
OPTIMIZER = (
    "Tensors of the same index must be on the same device and the same dtype except `step` tensors that can be CPU and "
    "float32/64 notwithstanding"
)
SDPA = (
    "Expected query, key, and value to have the same device type, but got query.device: {} key.device: {} and "
    "value.device: {} instead."
)
MIXED_LOSS = {
    # Loss.cpp, LossMulti*.cpp, cuda/Loss.cu, cuda/NLLLoss2d.cu: kernels with a generated check
    "F.cross_entropy(C(3,5),c(3,dtype=L))": checked("target", CPU, GPU, "nll_loss_forward"),
    "F.cross_entropy(c(3,5),C(3,dtype=L))": checked("target", GPU, CPU, "nll_loss_forward"),
    "F.cross_entropy(C(3,5),C(3,dtype=L),weight=c(5))": checked("weight", CPU, GPU, "nll_loss_forward"),
    "F.cross_entropy(C(3,5),c(3,dtype=L),label_smoothing=.1)": checked(
        "target", CPU, GPU, "nll_loss_forward"
    ),
    "F.cross_entropy(C(3,5,2,2),c(3,2,2,dtype=L))": checked("target", CPU, GPU, "_nll_loss2d_forward"),
    "F.huber_loss(C(3),c(3))": checked("target", CPU, GPU, "_huber_loss"),
    "F.huber_loss(c(3),C(3))": checked("target", GPU, CPU, "_huber_loss"),
    "F.multi_margin_loss(C(3,5),c(3,dtype=L))": checked("target", CPU, GPU, "_multi_margin_loss"),
    "F.multilabel_margin_loss(C(3,5),c(3,5,dtype=L))": checked(
        "target", CPU, GPU, "_multilabel_margin_loss_forward"
    ),
    # Loss.cpp: composites of pointwise operators
    "F.cross_entropy(C(3,5),c(3,5))": two(),
    "F.kl_div(C(3),c(3),reduction='sum')": two(),
    "F.kl_div(c(3),C(3),reduction='sum')": two(),
    "F.binary_cross_entropy(C(3),c(3))": two(),
    "F.binary_cross_entropy(c(3),C(3))": two(),
    "F.binary_cross_entropy(C(3),C(3),weight=c(3))": two(),
    "F.binary_cross_entropy_with_logits(C(3),c(3))": two(),
    "F.binary_cross_entropy_with_logits(c(3),C(3))": two(),
    "F.binary_cross_entropy_with_logits(C(3),C(3),pos_weight=c(3))": two(),
    "F.binary_cross_entropy_with_logits(C(3),C(3),weight=c(3))": two(),
    "F.smooth_l1_loss(C(3),c(3))": two(),
    # cuda/Loops.cuh: gpu_kernel of what TensorIterator let pass
    "F.mse_loss(C(),c())": asserted(2),
    "F.mse_loss(c(),C())": asserted(1),
    "F.smooth_l1_loss(C(),c())": asserted(2),
    "torch.lerp(c(),C(3),.5)": asserted(1),
    "torch.lerp(C(3),c(),.5)": asserted(2),
    "torch.lerp(C(3),c(),C(3))": asserted(2),
    "C(3).lerp_(c(),C(3))": asserted(2),
    "torch.lerp(C(3),c(),c())": "Trying to pass too many CPU scalars to non-CPU kernel!",
    "torch.lerp(C(3,dtype=torch.cfloat),c(dtype=torch.cfloat),.5)": asserted(2, "JitLoops"),
    "torch.logical_or(C(3,dtype=torch.cfloat),c(dtype=torch.cfloat))": asserted(2, "JitLoops"),
    "F.soft_margin_loss(C(3),c(3))": two(),
    "F.multilabel_soft_margin_loss(C(3,5),c(3,5))": two(),
    "F.hinge_embedding_loss(C(3,5),c(3,5))": two(),
    "F.poisson_nll_loss(C(3),c(3))": two(),
    "F.gaussian_nll_loss(C(3),C(3),c(3)+1)": two(),
    "F.margin_ranking_loss(C(3),C(3),c(3))": two(),
    "F.cosine_embedding_loss(C(2,3),C(2,3),c(2))": two(),
    "F.triplet_margin_loss(C(2,3),c(2,3),C(2,3))": two(),
    "F.pairwise_distance(C(2,3),c(2,3))": two(),
}
MIXED_LAYER = {
    # Linear.cpp: addmm, mm or bmm by the input's shape
    "nn.Linear(3,5)(C(2,3))": checked("mat1", GPU, CPU, "addmm"),
    "nn.Linear(3,5).cuda()(c(2,3))": checked("mat1", CPU, GPU, "addmm"),
    "nn.Linear(3,5)(C(2,4,3))": checked("mat1", GPU, CPU, "addmm"),
    "nn.Linear(3,5).cuda()(c(3))": checked("mat1", CPU, GPU, "addmm"),
    "nn.Linear(3,5,bias=False).cuda()(c(2,4,3))": checked("mat2", GPU, CPU, "mm"),
    "nn.Bilinear(5,4,2).cuda()(C(3,5),c(3,4))": checked("mat2", CPU, GPU, "bmm"),
    # Convolution.cpp: _select_conv_backend, check_input_same_type_as_parameters
    "nn.Conv1d(3,4,3)(C(2,3,8))": SAME_TYPE.format("cuda.", "weight", ""),
    "nn.Conv1d(3,4,3).cuda()(c(2,3,8))": SAME_TYPE.format("", "weight", "cuda.") + ONEDNN.format("weight"),
    "nn.Conv1d(3,4,3).cuda()(c(1,3,8))": checked("weight", GPU, CPU, "__slow_conv2d_forward"),
    "nn.Conv2d(3,4,3).cuda()(c(3,8,8))": checked("weight", GPU, CPU, "__slow_conv2d_forward"),
    "nn.Conv2d(3,4,5).cuda()(c(1,3,8,8))": SAME_TYPE.format("", "weight", "cuda.") + ONEDNN.format("weight"),
    "nn.Conv2d(3,4,3).cuda()(c(1,3,96,96))": SAME_TYPE.format("", "weight", "cuda.")
    + ONEDNN.format("weight"),
    "nn.Conv2d(3,4,1).cuda()(c(1,3,8,8))": checked("weight", GPU, CPU, "__slow_conv2d_forward"),
    "nn.Conv2d(3,4,3,dilation=2).cuda()(c(1,3,8,8))": checked("weight", GPU, CPU, "_slow_conv_dilated2d"),
    "nn.Conv2d(3,3,3,groups=3)(C(1,3,8,8))": checked("weight", CPU, GPU, "__conv_depthwise2d"),
    "F.conv2d(c(2,3,8,8),c(4,3,3,3),C(4))": SAME_TYPE.format("", "bias", "cuda.") + ONEDNN.format("bias"),
    "nn.Conv3d(3,4,3)(C(2,3,8,8,8))": SAME_TYPE.format("cuda.", "weight", ""),
    "nn.ConvTranspose2d(3,4,3).cuda()(c(1,3,8,8))": checked("weight", GPU, CPU, "slow_conv_transpose2d"),
    "nn.ConvTranspose2d(3,4,3)(C(1,3,8,8))": SAME_TYPE.format("cuda.", "weight", ""),
    # Normalization.cpp (_select_batch_norm_backend), layer_norm.cpp, group_norm.cpp
    "nn.BatchNorm1d(3)(C(4,3))": checked("weight", CPU, GPU, "_native_batch_norm"),
    "nn.BatchNorm1d(3)(C(4,3,5))": checked("weight", CPU, GPU, "_cudnn_batch_norm"),
    "nn.BatchNorm2d(3).eval()(C(4,3,2,2))": checked("weight", CPU, GPU, "_cudnn_batch_norm"),
    "nn.BatchNorm2d(3).cuda()(c(4,3,2,2))": checked("weight", GPU, CPU, "_native_batch_norm"),
    "nn.BatchNorm2d(3,affine=False)(C(4,3,2,2))": checked("running_mean", CPU, GPU, "_native_batch_norm"),
    "nn.InstanceNorm2d(3,affine=True)(C(4,3,2,2))": checked("weight", CPU, GPU, "_cudnn_batch_norm"),
    "nn.LayerNorm(3).cuda()(c(4,3))": checked("weight", GPU, CPU, "_native_layer_norm"),
    "nn.GroupNorm(2,4)(C(4,4,2))": checked("weight", CPU, GPU, "_native_group_norm"),
    # Embedding.cpp (index_select), EmbeddingBag.cpp
    "nn.Embedding(10,4)(C(3,dtype=L))": checked("index", GPU, CPU, "_index_select"),
    "nn.Embedding(10,4).cuda()(c(3,2,dtype=L))": checked("index", CPU, GPU, "_index_select"),
    "nn.Embedding(10,4,max_norm=1.).cuda()(c(3,dtype=L))": checked("indices", CPU, GPU, "_embedding_renorm_"),
    "nn.EmbeddingBag(10,4).cuda()(c(3,2,dtype=L))": checked("indices", CPU, GPU, "__embedding_bag"),
    "nn.EmbeddingBag(10,4)(C(3,2,dtype=L))": checked("indices", GPU, CPU, "__embedding_bag"),
    # RNN.h (check_attributes): hidden states before parameters
    "nn.LSTM(4,5)(C(2,3,4))": RNN.format("parameter", GPU, "parameter", CPU),
    "nn.LSTM(4,5).cuda()(c(2,3,4))": RNN.format("parameter", CPU, "parameter", GPU),
    "nn.LSTM(4,5).cuda()(C(2,3,4),(c(1,3,5),c(1,3,5)))": RNN.format("hidden", GPU, "hidden", CPU),
    "nn.GRU(4,5)(C(2,3,4))": RNN.format("parameter", GPU, "parameter", CPU),
    "nn.GRU(4,5).cuda()(C(2,3,4),c(1,3,5))": RNN.format("hidden", GPU, "hidden", CPU),
    "nn.RNN(4,5).cuda()(c(2,3,4))": RNN.format("parameter", CPU, "parameter", GPU),
    # RNN.cpp (LSTMCell, GRUCell): on a card two matrix products and a fused kernel, elsewhere two linear
    "nn.LSTMCell(4,5)(C(3,4))": checked("mat2", CPU, GPU, "mm"),
    "nn.LSTMCell(4,5).cuda()(c(3,4))": checked("mat1", CPU, GPU, "addmm"),
    "nn.LSTMCell(4,5).cuda()(C(3,4),(c(3,5),C(3,5)))": checked("mat2", GPU, CPU, "mm"),
    "nn.LSTMCell(4,5).cuda()(C(3,4),(C(3,5),c(3,5)))": checked("cx", CPU, GPU, "__thnn_fused_lstm_cell"),
    "nn.GRUCell(4,5)(C(3,4))": checked("mat2", CPU, GPU, "mm"),
    "nn.RNNCell(4,5)(C(3,4))": checked("mat1", GPU, CPU, "addmm"),
    # torch/nn/functional.py (multi_head_attention_forward): linear first, the mask by baddbmm or attention
    "nn.MultiheadAttention(4,2)(C(3,1,4),C(3,1,4),C(3,1,4))": checked("mat1", GPU, CPU, "addmm"),
    "nn.MultiheadAttention(4,2).cuda()(C(3,1,4),c(3,1,4),c(3,1,4))": checked("mat1", CPU, GPU, "addmm"),
    "nn.MultiheadAttention(4,2).cuda()(*[C(3,1,4)]*3,attn_mask=c(3,3))": checked(
        "batch1", GPU, CPU, "baddbmm"
    ),
    "nn.TransformerEncoderLayer(4,2,8,batch_first=True)(C(1,3,4))": checked("mat1", GPU, CPU, "addmm"),
    "nn.TransformerEncoderLayer(4,2,8).cuda().eval()(c(3,1,4))": checked("mat1", CPU, GPU, "addmm"),
    "quiet(nn.TransformerEncoderLayer(4,2,8,batch_first=True).cuda().eval(),c(1,3,4))": checked(
        "qkv_weight", GPU, CPU, "__transformer_encoder_layer_fwd"
    ),
    "quiet(nn.MultiheadAttention(4,2,batch_first=True).eval(),*[C(1,3,4)]*3)": checked(
        "qkv_weight", CPU, GPU, "__native_multi_head_attention"
    ),
    "nn.PReLU(5)(C(3,5))": checked("weight", CPU, GPU, "__prelu_kernel"),
    # transformers/attention.cpp (validate_sdpa_input), cuda/sdp_utils.cpp
    "F.scaled_dot_product_attention(C(1,2,4,8),C(1,2,4,8),c(1,2,4,8))": SDPA.format(GPU, GPU, CPU),
    "F.scaled_dot_product_attention(c(1,2,4,8),C(1,2,4,8),c(1,2,4,8))": SDPA.format(CPU, GPU, CPU),
    "F.scaled_dot_product_attention(C(1,2,4,8),*[c(1,2,4,8)]*2,dropout_p=.5)": SDPA.format(GPU, CPU, CPU),
    "F.scaled_dot_product_attention(*[C(1,2,4,8)]*3,attn_mask=c(4,4))": checked(
        "attn_bias", CPU, GPU, "__scaled_dot_product_efficient_attention"
    ),
}
APART = "Values and {} need to be on the same device."
MIXED_OUTPUT = {
    # cuda/ForeachBinaryOpScalarTensor.cu: with alpha=, else the number of a CPU tensor is taken
    "torch._foreach_add([C(3),C(2)],c(),alpha=1)": "scalar tensor expected to be on cuda:0 but is on cpu",
    "torch._foreach_add_([C(3),C(2)],c(),alpha=1)": "scalar tensor expected to be on cuda:0 but is on cpu",
    # BinaryOps.cpp lets a 0-dim CPU tensor take part; UnaryOps.cpp and ReduceOps.cpp do not
    "torch.cos(c(),out=C())": two(),
    "torch.mean(c(),out=C())": two(),
    "torch.bernoulli(c(),out=C())": two(),
    "torch.add(c(),1,out=C())": "Trying to pass too many CPU scalars to non-CPU kernel!",
    # ReduceAllOps.cpp, ReduceOpsUtils.h, LinearAlgebraUtils.h: checks by hand
    "torch.max(C(3),out=c())": f"Expected self.device() == out.device() to be true, but got false.{IMPROVE}",
    "torch.min(c(),out=C())": f"Expected self.device() == out.device() to be true, but got false.{IMPROVE}",
    "torch.cummax(C(3),0,out=(c(3),c(3,dtype=L)))": "expected device cuda:0 but found cpu",
    "torch.cummin(C(3),0,out=(C(3),c(3,dtype=L)))": "expected device cuda:0 but found cpu",
    "torch.logcumsumexp(c(3),0,out=C(3))": "expected device cpu but found cuda:0",
    "torch.diff(C(3),0,out=c(3))": "expected device cuda:0 but found cpu",
    "torch.linalg.vecdot(C(3),C(3),out=c())": "linalg.vecdot: Expected result and input tensors to be on the same "
    "device, but got result on cuda:0 and input on cpu",
}
MIXED_SPARSE = {
    # sparse/cuda/SparseCUDATensorMath.cu, add_out_dense_sparse_cuda and add_out_sparse_cuda
    "c(3,3)+C(3,3).to_sparse()": "add: expected 'self' to be a CUDA tensor, but got a CPU tensor",
    "C(3,3)-c(3,3).to_sparse()": "add: expected 'other' to be a CUDA tensor, but got a CPU tensor",
    "C(3,3).to_sparse()+c(3,3).to_sparse()": "add: expected 'other' to be CUDA, but got CPU",
    # the kernel that puts a sparse tensor together: dispatched by the layout that is asked for
    "torch.sparse_coo_tensor(torch.tensor([[0,1],[1,0]]),C(2),(2,2))": checked(
        "values", GPU, CPU, "__sparse_coo_tensor_with_dims_and_tensors"
    ).replace("_CUDA_", "_SparseCUDA_"),
    "torch.sparse_coo_tensor(C(2,2,dtype=L),c(2))": checked(
        "values", CPU, GPU, "__sparse_coo_tensor_with_dims_and_tensors"
    ).replace("_CUDA_", "_SparseCUDA_"),
    # SparseCsrTensorImpl.cpp, set_member_tensors
    "torch.sparse_csr_tensor(torch.tensor([0,1,2]),torch.tensor([0,1]),C(2),(2,2))": APART.format(
        "crow_indices"
    ),
    "torch.sparse_csr_tensor(C(3,dtype=L),torch.tensor([0,1]),C(2),(2,2))": APART.format("col_indices"),
    "torch.sparse_csc_tensor(torch.tensor([0,1,2]),[0,1],C(2),(2,2))": APART.format("ccol_indices"),
    "torch.sparse_bsc_tensor([0,1,2],torch.tensor([0,1]),C(2,1,1),(2,2))": APART.format("row_indices"),
    "torch.sparse_csr_tensor(torch.tensor([0,1,2]),[0,1],C(2),(2,2),check_invariants=True)": two(),
    "torch.sparse_csr_tensor(torch.tensor([0,1,2]),torch.tensor([0,1]),C(2),(2,2),check_invariants=True)": (
        "device of crow_indices (=cpu) must match device of values (=cuda:0)"
    ),
}
MIXED_OPERATOR = {
    # Blas.cpp, LinearAlgebra.cpp: kernels with a generated check; mv makes its result where vec is
    "torch.mm(c(2,3),C(3,4))": checked("mat2", GPU, CPU, "mm"),
    "torch.addmm(C(4),c(2,3),C(3,4))": checked("mat1", CPU, GPU, "addmm"),
    "torch.mm(C(2,2),C(2,2),out=c(2,2))": checked("self", GPU, CPU, "mm_out_out"),
    "c(2,3)@C(3)": checked("mat", CPU, GPU, "addmv_"),
    "C(4,2,3)@c(3)": checked("mat", GPU, CPU, "addmv_"),
    "c(3)@C(3)": checked("tensor", GPU, CPU, "_dot"),
    "C(4,2,3)@c(3,4)": checked("mat2", CPU, GPU, "mm"),
    "C(4,2,3)@c(4,3,4)": checked("mat2", CPU, GPU, "bmm"),
    "torch.baddbmm(C(2,3,3),C(2,3,3),c(2,3,3))": checked("batch2", CPU, GPU, "baddbmm"),
    "torch.einsum('ij,jk->ik',C(2,3),c(3,4))": checked("mat2", CPU, GPU, "bmm"),
    "torch.addr(C(2,3),c(2),C(3))": checked("vec1", CPU, GPU, "_addr"),
    "torch.cdist(C(2,3),c(2,3))": checked("x2", CPU, GPU, "__cdist_forward"),
    "torch.linalg.cross(C(2,3),c(2,3))": checked("other", CPU, GPU, "linalg_cross"),
    "torch.linalg.solve(torch.eye(3,device='cuda'),c(3))": checked("B", CPU, GPU, "_linalg_solve_ex"),
    "torch.linalg.lstsq(C(3,3),c(3,3))": checked("b", CPU, GPU, "out_linalg_lstsq_out"),
    "torch.conv_tbc(C(5,2,3),c(3,3,4),c(4))": checked("mat2", CPU, GPU, "addmm_"),
    "torch.linalg.multi_dot([C(2,3),C(3,4),c(4,5)])": (
        "multi_dot(): all tensors must be on the same device but tensor 0 is on cuda:0 and tensor 2 on cpu"
    ),
    "torch.cholesky_solve(c(3,1),C(3,3))": (  # LinearAlgebraUtils.h, linearSolveCheckInputs
        "Expected b and A to be on the same device, but found b on cpu and A on cuda:0 instead."
    ),
    # TensorShape.cpp
    "torch.cat([c(3),C(3)])": checked("tensors", GPU, CPU, "cat"),
    "torch.stack([c(3),C(3)])": checked("tensors", GPU, CPU, "cat"),
    "torch.vstack([C(3),C(3),c(3)])": checked("tensors", CPU, GPU, "cat"),
    "torch.block_diag(c(2,2),C(2,2))": (
        "torch.block_diag: input tensors must all be on the same device. "
        "Input 0 is on device cpu and input 1 is on device cuda:0"
    ),
    "torch.meshgrid(C(2),c(2),indexing='ij')": "meshgrid expects all tensors to have the same device",
    "torch.cartesian_prod(C(2),c(2))": "meshgrid expects all tensors to have the same device",
    "torch.tensor_split(C(6),C(2,dtype=L))": (
        "tensor_split expected tensor_indices_or_sections to be on cpu, but it's on cuda:0"
    ),
    # TensorAdvancedIndexing.cpp, ScatterGatherKernel.cu, cuda/Indexing.cu
    "C(5)[D(2,dtype=L)]": "indices should be either on cpu or on the same device as the indexed tensor (cuda:0)",
    "c(5)[C(5)>0]": "indices should be either on cpu or on the same device as the indexed tensor (cpu)",
    "C(5).__setitem__(C(2,dtype=L),c(2))": two(),
    "c(5).__setitem__(C(2,dtype=L),C(2))": two(),
    "C(5).index_put_((C(2,dtype=L),),c(2),accumulate=True)": "expected device cuda:0 but got device cpu for value tensor",
    "C(5).masked_fill_(c(5)>0,1.)": (
        "expected self and mask to be on the same device, but got mask on cpu and self on cuda:0"
    ),
    "c(5).masked_fill(c(5)>0,C())": "masked_fill_: Expected inputs to be on same device",
    "C(5).masked_select(c(5)>0)": checked("mask", CPU, GPU, "_masked_select"),
    "C(5).masked_scatter(c(5)>0,C(5))": checked("mask", CPU, GPU, "_masked_scatter_"),
    "C(5).index_fill_(0,c(2,dtype=L),1.)": two(),
    "C(5).index_add_(0,c(2,dtype=L),C(2))": checked("index", CPU, GPU, "index_add_"),
    "C(5).index_copy(0,C(2,dtype=L),c(2))": checked("source", CPU, GPU, "index_copy"),
    "C(5).scatter_(0,c(2,dtype=L),1.)": checked("index", CPU, GPU, "scatter__value"),
    "C(5).scatter_add(0,C(2,dtype=L),c(2))": checked("src", CPU, GPU, "scatter_add"),
    "C(5).take(c(2,dtype=L))": checked("index", CPU, GPU, "_take"),
    "torch.take_along_dim(C(5),c(2,dtype=L),0)": (  # ATen/TensorUtils.cpp, checkDevice
        "Expected tensor to have cuda:0 Device, but got tensor with cpu Device (while checking arguments for "
        "torch.take_along_dim():)"
    ),
    "C(5).repeat_interleave(c(5,dtype=L))": checked("index", CPU, GPU, "_index_select"),
    "torch.index_select(c(5),0,C(2,dtype=L))": checked("index", GPU, CPU, "_index_select"),
    "C(3).set_(c(3))": (  # Resize.h, checkSetStorage
        'Attempted to set the storage of a tensor on device "cuda:0" to a storage on different device "cpu".  '
        "This is no longer allowed; the devices must match."
    ),
    # sparse/SparseTensorMath.cpp: kernels of the sparse dispatch keys
    "torch.eye(3).to_sparse().cuda()@c(3,2)": checked("mat2", CPU, GPU, "_mm").replace(
        "_CUDA_", "_SparseCUDA_"
    ),
    "torch.eye(3).to_sparse_csr()@C(3,2)": checked("mat2", GPU, CPU, "_mm").replace(
        "_CUDA_", "_SparseCsrCUDA_"
    ),
    # WeightNorm.cpp
    "torch._weight_norm(c(3,4),C(3,1),0)": (
        "weight_norm: expected v_in and g_in to be on the same device, but v_in is on cpu and g_in is on cuda:0"
    ),
    # ReduceOps.cpp, Sorting.cpp, SortingKernels: out= on the wrong side
    "torch.gradient(C(5),spacing=[c(5)])": (
        "torch.gradient expected each tensor to be on the same device, but got devices cuda:0 and cpu!"
    ),
    "torch.argmax(C(3),0,out=c(dtype=L))": checked("self", GPU, CPU, "argmax_out_out"),
    "torch.topk(C(3),1,out=(c(1),c(1,dtype=L)))": checked("self", GPU, CPU, "topk_out_values"),
    "torch.sort(C(3),out=(c(3),c(3,dtype=L)))": checked("self", GPU, CPU, "sort_out_values_stable"),
    "torch.cat([C(3),C(3)],out=c(6))": checked("tensors", GPU, CPU, "cat_out_out"),
    "torch.mean(C(3,2),0,out=c(2))": "Expected out tensor to have device cuda:0, but got cpu instead",
    "torch.cumsum(C(3),0,out=c(3))": "Expected out tensor to have device cuda:0, but got cpu instead",
    # Bucketization.cpp, Sorting.cpp, SpectralOps.cpp, GridSamplerUtils.h, TensorFactories.cpp, Distributions.cpp
    "torch.bucketize(C(3),c(4))": checked("boundaries", CPU, GPU, "Tensor_bucketize"),
    "torch.searchsorted(c(4),C(3))": checked("self", GPU, CPU, "Tensor_searchsorted"),
    "torch.searchsorted(C(4),C(3),sorter=c(4,dtype=L))": (  # BucketizationUtils.h, searchsorted_pre_check
        "torch.searchsorted(): sorter and boundary tensors should have same device type, but got sorter tensor device type "
        "cpu and input value tensor device type cuda:0"
    ),
    "torch.isin(C(3),c(2))": checked("test_elements", CPU, GPU, "isin_Tensor_Tensor"),
    "torch.equal(c(3),C(3))": checked("other", GPU, CPU, "_equal"),
    "torch.quantile(C(5),c(2))": "quantile() q tensor must be on the same device as the input tensor",
    "torch.stft(C(100),20,window=c(20),return_complex=True)": (
        "stft input and window must be on the same device but got self on cuda:0 and window on cpu"
    ),
    "F.grid_sample(C(1,1,3,3),c(1,2,2,2),align_corners=False)": (
        "grid_sampler(): expected input and grid to be on same device, but input is on cuda:0 and grid is on cpu"
    ),
    "torch.complex(C(3),c(3))": checked("imag", CPU, GPU, "out_complex_out"),
    "torch.polar(c(3),C(3))": checked("angle", GPU, CPU, "out_polar_out"),
    "torch.normal(C(3),c(3)+1)": checked("std", CPU, GPU, "Tensor_Tensor_normal"),
    "torch.bincount(C(3,dtype=L),c(3))": checked("weights", CPU, GPU, "_bincount"),
    # TensorIterator: pointwise, comparison, in place, out=, and 0-dim tensors of the wrong side
    "torch.add(C(3),C(3),out=c(3))": two(),
    "torch.sqrt(C(3),out=c(3))": two(),
    "c(3)+C()": two(),
    "c().add_(C())": two(),
    "torch.maximum(c(3),C(3))": two(),
    "torch.atan2(C(3),c(3))": two(),
    "torch.addcmul(C(3),c(),c())": "Trying to pass too many CPU scalars to non-CPU kernel!",
    "torch.addcdiv(C(3),c(),C(3))": two(),  # build_ternary_op allows no CPU scalar
    "torch.clamp(C(3),min=c())": checked("min", CPU, GPU, "clamp_Tensor"),
    "torch.clamp(C(3),min=C(3),out=c(3))": two(),
    "torch.bitwise_and(C(3),c(3))": two(),  # that there is no such kernel for float is found out last
    "torch.clamp_min(C(3),c())": checked("min", CPU, GPU, "clamp_min_Tensor"),
    "torch.logical_and(c(),C(3))": two(),  # BinaryOps.cpp, comparison_op: the result is made where self is
    "torch.where(C(3)>0,C(3),c(3))": two(),
    "torch.where(c(3)>0,C(3),C(3))": two(),
    "torch.lerp(C(3),C(3),c(3))": two(),
    "torch.allclose(C(3),c(3))": two(),
    "torch.dist(c(3),C(3))": two(),
    "torch.outer(C(3),c(2))": two(),
    "torch.sum(C(3,2),0,out=c(2))": "Expected out tensor to have device cuda:0, but got cpu instead",
    # Distance.cpp: the lower limit of the norms is a tensor made where x1 is; in older versions a number
    "F.cosine_similarity(C(2,3),c(2,3))": checked("min", GPU, CPU, "clamp_min__Tensor") if LIMITS else two(),
    "F.cosine_similarity(c(2,3),C(2,3))": checked("min", CPU, GPU, "clamp_min__Tensor") if LIMITS else two(),
    # ForeachOpsKernels.cpp: one by one
    "torch._foreach_add([C(3),C(2)],[C(3),c(2)])": two(),
    "torch._foreach_addcdiv([C(3)],[c(3)],[C(3)])": two(),
    "torch._foreach_lerp_([c(3)],[C(3)],.1)": two(),
    # native_functions.yaml, autogen: operators that torchgen derives from others
    "torch.ops.aten._fused_adagrad([C(3)],[C(3)],[c(3)],[C()],lr=.1,lr_decay=0.,weight_decay=0.,eps=1e-8,maximize=False)": (
        checked("state_sums", CPU, GPU, "__fused_adagrad_")
    ),
    "torch.ops.aten.embedding.out(C(5,2),C(2,dtype=L),out=c(2,2))": (
        "Expected out tensor to have device cuda:0, but got cpu instead"
    ),
    # TensorIterator and generated checks between two cards
    "C(3)+D(3)": two("cuda:0", "cuda:1"),
    "D(3)+C(3)": two("cuda:1", "cuda:0"),
    "C(3)+D()": two("cuda:0", "cuda:1"),
    "torch.mm(D(2,2),C(2,2))": checked("mat2", "cuda:0", "cuda:1", "mm"),
    "nn.Linear(3,3).to('cuda:1')(C(2,3))": checked("mat1", "cuda:0", "cuda:1", "addmm"),
    "nn.Conv2d(3,4,3).to('cuda:1')(C(2,3,8,8))": checked("weight", "cuda:1", "cuda:0", "_cudnn_convolution"),
    # PackedSequence.cpp, torch/csrc/autograd/engine.cpp
    "nn.utils.rnn.pack_padded_sequence(C(3,2,4),torch.tensor([3,2]).cuda())": (
        "'lengths' argument should be a 1D CPU int64 tensor, but got 1D cuda:0 Long tensor"
    ),
    "Doubled.apply(C(3).requires_grad_()).sum().backward()": (
        "Function DoubledBackward returned an invalid gradient at index 0 - expected device cuda:0 but got cpu"
    ),
    "C(3).requires_grad_().exp().backward(c(3))": (
        "invalid gradient at index 0 - expected device cuda:0 but got cpu"
    ),
}
MIXED_OPTIMIZER = {
    # torch/optim, ForeachUtils.h (_group_tensors_by_first_tensors_device_and_dtype), cuda/FusedAdamKernel.cu
    "stepped(torch.optim.SGD,'cpu','cuda',lr=.1,momentum=.9)": two(),
    "stepped(torch.optim.SGD,'cpu','cuda',lr=.1,momentum=.9,foreach=False)": two(),
    "stepped(torch.optim.SGD,'cuda','cpu',lr=.1,momentum=.9)": two(),
    "stepped(torch.optim.SGD,'cpu','cuda',lr=.1,momentum=.9,fused=True)": checked(
        "momentum_buffer_list", CPU, GPU, "__fused_sgd_"
    ),
    "stepped(torch.optim.Adam,'cpu','cuda')": two(),
    "stepped(torch.optim.Adam,'cpu','cuda',foreach=False)": two(),
    "stepped(torch.optim.AdamW,'cuda','cpu')": two(),
    "stepped(torch.optim.Adam,'cpu','cuda',fused=True)": checked("exp_avgs", CPU, GPU, "__fused_adam_"),
    "stepped(torch.optim.AdamW,'cpu','cuda',fused=True)": checked("exp_avgs", CPU, GPU, "__fused_adamw_"),
    "stepped(torch.optim.Adam,'cuda','cpu',foreach=True)": OPTIMIZER,
    "stepped(torch.optim.AdamW,'cuda:0','cuda:1')": OPTIMIZER,
    "stepped(torch.optim.RMSprop,'cpu','cuda',dtype=torch.bfloat16)": OPTIMIZER,
    "stepped(torch.optim.RMSprop,'cpu','cuda')": two(),
    "stepped(torch.optim.Adagrad,'cpu','cuda')": two(),
}
SHAPE_FIRST = {
    "torch._foreach_mul([c(2),C(2)],C(2))": "scalar tensor expected to be 0 dim but it has 1 dimensions and 2 elements.",
    "torch._foreach_add([c(2),C(2)],C(2))": "scalar tensor expected to be 0 dim but it has 1 dimensions and 2 elements.",
    # TensorIterator.cpp (compute_shape before compute_types), Convolution.cpp (check_shape_forward)
    "C(3)+c(4)": "The size of tensor a (3) must match the size of tensor b (4) at non-singleton dimension 0",
    "C(3).mul_(c(4))": "The size of tensor a (3) must match the size of tensor b (4) at non-singleton dimension 0",
    "C(3,dtype=L).add_(c(3))": "result type Float can't be cast to the desired output type Long",
    "c(3,dtype=L).add_(C(3))": two(),
    "torch.lerp(C(3),c(3,dtype=torch.float64),.5)": "expected dtype float for `end` but got dtype double",
    "F.binary_cross_entropy(C(3),c(3,dtype=L))": "Found dtype Long but expected Float",
    "C(3).add_(c(2,3))": "output with shape [3] doesn't match the broadcast shape [2, 3]",
    "nn.Conv2d(5,4,3)(C(2,3,8,8))": (
        "Given groups=1, weight of size [4, 5, 3, 3], expected input[2, 3, 8, 8] to have 5 channels, but got 3 channels "
        "instead"
    ),
    # a generated check comes before its kernel looks at shapes
    "torch.mm(C(2,3),c(4,5))": checked("mat2", CPU, GPU, "mm"),
    "F.linear(c(2,4),C(5,3),C(5))": checked("mat1", CPU, GPU, "addmm"),
}
ALLOWED = {
    # TensorIterator.cpp: one 0-dim CPU tensor among the inputs
    "C(3)+c()": GPU,
    "c()*C(3)": GPU,
    "C()+c()": GPU,
    "C(3).add_(c())": GPU,
    "torch.addcmul(C(3),C(3),c())": GPU,
    "torch.lerp(C(3),C(3),c())": GPU,
    "torch.logical_and(C(3),c())": GPU,
    "F.binary_cross_entropy_with_logits(C(3),C(3),pos_weight=c())": GPU,
    "C(3)+1": GPU,
    # TensorCompare.cpp: where moves 0-dim operands, also from another card
    "torch.where(C(3)>0,C(3),c())": GPU,
    "torch.where(C(3)>0,D(),C(3))": GPU,
    "torch.where(C(3)>0,1.,2.)": GPU,
    # TensorAdvancedIndexing.cpp: CPU indices, 0-dim values, indices of index_put_ anywhere
    "C(5)[c(2,dtype=L)]": GPU,
    "C(5)[torch.ones(5,dtype=torch.bool)]": GPU,
    "c(5)[C(dtype=L)]": CPU,  # a 0-dim index is read by the host
    "C(5).index_put_((c(2,dtype=L),),C(2))": GPU,
    "C(5).index_put_((C(2,dtype=L),),c())": GPU,
    "C(5).index_put_((C(5)==0,),c())": GPU,
    "c(5).index_put_((C(2,dtype=L),),c(2))": CPU,
    "C(5).index_fill_(0,C(2,dtype=L),c())": GPU,
    "C(5).masked_fill(C(5)>0,c())": GPU,
    # Copy.cpp, Fill.cpp
    "C(5).slice_scatter(c(2),0,1,3)": GPU,
    # torch/csrc/utils/tensor_new.cpp: numbers go where the values of a sparse tensor are, tensors where `device=` says
    "torch.sparse_coo_tensor([[0,1],[1,0]],C(2),(2,2))": GPU,
    "torch.sparse_coo_tensor(torch.tensor([[0,1],[1,0]]),c(2),(2,2),device='cuda')": GPU,
    "torch.sparse_csr_tensor([0,1,2],[0,1],C(2),(2,2))": GPU,
    "torch.sparse_csr_tensor(torch.tensor([0,1,2]),C(2,dtype=L),c(2),(2,2),device='cuda')": GPU,
    "c(3).type_as(C(3))": GPU,
    "nn.utils.rnn.pad_sequence([C(3),c(2)])": GPU,
    "C(3).copy_(c(3))": GPU,
    "c(3).copy_(C(3))": CPU,
    "C(3).copy_(D(3))": GPU,
    "C(3).fill_(c())": GPU,
    "torch._foreach_mul([C(3),C(2)],c())[1]": GPU,
    "torch._foreach_add([C(3),C(2)],c())[1]": GPU,
    "torch._foreach_add([C(3),c(2)],[C(3),c(2)])[0]": GPU,
    "torch._foreach_add([C(3),c(2)],[C(3),c(2)])[1]": CPU,
    "torch._foreach_norm([c(3),C(2)])[1]": GPU,
    # LossCTC.cpp moves targets and reads lengths; PackedSequence.cpp keeps batch_sizes on the CPU
    "F.ctc_loss(C(5,2,4).log_softmax(2),torch.ones(2,2).long(),torch.tensor([5,5]),torch.tensor([2,2]))": GPU,
    "F.ctc_loss(C(5,2,4).log_softmax(2),C(2,2,dtype=L)+1,torch.tensor([5,5]).cuda(),torch.tensor([2,2]))": GPU,
    "nn.utils.rnn.pack_padded_sequence(C(3,2,4),torch.tensor([3,2])).data": GPU,
    "nn.utils.rnn.pack_padded_sequence(C(3,2,4),torch.tensor([3,2])).batch_sizes": CPU,
    "nn.LSTM(4,5).cuda()(nn.utils.rnn.pack_padded_sequence(C(3,2,4),torch.tensor([3,2])))[0].data": GPU,
    "torch.tensor_split(C(6),torch.tensor([2,4]))[1]": GPU,
    # torch/optim/adam.py: the step count stays on the CPU
    "stepped(torch.optim.Adam,'cuda','cuda')": GPU,
    "stepped(torch.optim.SGD,'cpu','cuda',lr=.1)": GPU,
    # torch/csrc/autograd/engine.cpp: a 0-dim gradient is moved
    "torch.autograd.grad(Doubled.apply(x:=C().requires_grad_()),x)[0]": GPU,
    "torch.autograd.grad(((x:=c().requires_grad_()).exp()*C(3)).sum(),x)[0]": CPU,
    "torch.autograd.grad((x:=C(3).requires_grad_()).sum(),x,c())[0]": GPU,
}
DERIVED = (
    MIXED_LOSS | MIXED_LAYER | MIXED_OUTPUT | MIXED_SPARSE | MIXED_OPERATOR | MIXED_OPTIMIZER | SHAPE_FIRST
)


@pytest.fixture(scope="module", autouse=True)
def two_cards():
    with simulate_gpu(count=2):
        yield


@pytest.mark.parametrize("case", GENUINE.values(), ids=GENUINE)
def test_a_genuine_message_comes_word_for_word(case):
    with pytest.raises(Exception) as caught:
        eval(case["code"], dict(NAMES))
    assert (type(caught.value).__name__, str(caught.value)) == (case["type"], case["message"])


# The kernels that CUDA got later than in PyTorch 2.8: before, plain operators refuse, in their words.
SINCE = {"_fused_adagrad": (2, 9), "_fused_rms_norm": (2, 9)}


def skip_before(code: str) -> None:
    """Skip the words of a kernel that this PyTorch has not."""
    for name, since in SINCE.items():
        if name in code and release(torch.__version__) < since:
            pytest.skip(f"PyTorch has CUDA's {name} from {since[0]}.{since[1]} on")


@pytest.mark.parametrize("code", DERIVED)
def test_a_message_derived_from_the_sources_comes_word_for_word(code):
    skip_before(code)
    with pytest.raises(RuntimeError) as caught:
        eval(code, dict(NAMES))
    assert str(caught.value) == DERIVED[code]


def test_rms_norm_is_one_kernel_on_a_card():
    skip_before("_fused_rms_norm")
    with pytest.raises(RuntimeError) as caught:
        nn.RMSNorm(3)(C(4, 3))
    assert str(caught.value) == checked("weight", CPU, GPU, "__fused_rms_norm")


@pytest.mark.parametrize(
    ("code", "operator"),
    [
        ("torch.histogram(C(5),3)", "histogram.bin_ct"),
        ("C(5).histogram(C(3))", "histogram.bins_tensor"),
        ("torch.histogramdd(C(5,2),[2,2])", "_histogramdd_bin_edges"),
    ],
)
def test_an_operator_that_cuda_lacks_says_so(code, operator):
    words = f"Could not run 'aten::{operator}' with arguments from the 'CUDA' backend."
    with pytest.raises(NotImplementedError, match=words):
        eval(code, dict(NAMES))


def test_inference_mode_changes_no_message():
    with torch.inference_mode(), pytest.raises(RuntimeError) as caught:
        nn.Linear(3, 5)(C(2, 3))
    assert str(caught.value) == checked("mat1", GPU, CPU, "addmm")


@pytest.mark.parametrize("code", ALLOWED)
def test_a_mix_that_cuda_allows_is_allowed(code):
    assert str(eval(code, dict(NAMES)).device) == ALLOWED[code]
