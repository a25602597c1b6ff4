"""What stands behind python -m devicelab compare, run script.py, explain, doctor, record, share."""

import argparse
import io
import os
import sys
from collections.abc import Sequence

from . import shadow
from .errors import DevicelabError, InputError
from .private import private


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 2 unusable input, 130 interrupted."""
    options = _parser().parse_args(arguments)
    if options.run is not _run and isinstance(
        sys.stdout, io.TextIOWrapper
    ):  # a script's own output is left as it is
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that has no letter for something
    try:
        if options.run is not _doctor and (other := shadow.torch_in(shadow.first_folder())):
            raise InputError(shadow.advice(other, "what you run"))
        return options.run(options)
    except DevicelabError as error:
        print(private(f"devicelab: {error}"), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("devicelab: interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m devicelab", description="Is it on the GPU?")
    commands = parser.add_subparsers(title="commands", required=True)
    compare = commands.add_parser("compare", help="the article's three examples on this machine, timed")
    compare.set_defaults(run=_compare)
    compare.add_argument("--json", action="store_true", help="everything as JSON, with the raw samples")
    compare.add_argument("--gpu", metavar="NAME", help="simulate this card, such as 'NVIDIA L4'")
    for name, default, text in _SIZES:
        usual = "adaptive" if default is None else default
        compare.add_argument(f"--{name}", type=int, default=default, help=f"{text} (default: {usual})")
    run = commands.add_parser(
        "run", help="run a script and say on what it trained", prefix_chars="\0", add_help=False
    )  # nothing is an option here: what follows belongs to the runner and to the script
    run.set_defaults(run=_run)
    run.add_argument("words", nargs=argparse.REMAINDER)
    explain = commands.add_parser("explain", help="put an error's text in words", description=_EXPLAIN)
    explain.set_defaults(run=_explain)
    explain.add_argument(
        "--json", action="store_true", help="as JSON; its schema is devicelab/schemas/explain.json"
    )
    explain.add_argument("file", nargs="?", help="a file with the text, or - for what is piped in")
    doctor = commands.add_parser(
        "doctor", help="why is there no GPU here, or the wrong one?", description=_DOCTOR
    )
    doctor.set_defaults(run=_doctor)
    doctor.add_argument("--json", action="store_true", help="the findings and all the facts as JSON")
    doctor.add_argument(
        "script", nargs="?", help="a script to read: does it set CUDA_VISIBLE_DEVICES too late?"
    )
    record = commands.add_parser("record", help="measure this GPU into recordings/", description=_RECORD)
    record.set_defaults(run=_record)
    record.add_argument("--out", metavar="FOLDER", help="where to write (default: recordings/)")
    record.add_argument("--quick", action="store_true", help="fewer sizes, shorter measurements")
    record.add_argument("--replace", action="store_true", help="renew a recording that exists")
    share = commands.add_parser("share", help="this machine's results for a class", description=_SHARE)
    share.set_defaults(run=_share)
    share.add_argument("--out", metavar="FILE", help="where to write (default: share.json)")
    share.add_argument("--name", help="what you want to be called; without it the file names nobody")
    share.add_argument("--gpu", metavar="NAME", help="simulate this card, such as 'NVIDIA L4'")
    share.add_argument("--yes", action="store_true", help="write without asking")
    return parser


_EXPLAIN = """Says what an error means, from its text: python train.py 2>&1 | python -m devicelab explain -
Exit codes: 0 it is about devices or dtypes and devicelab knows it, 1 it is about something else or nothing is known of it,
2 unusable input (empty, no text). What is printed holds no home folders and no names of users or computers."""
_DOCTOR = """Says why torch has no GPU here, with evidence and one command to try; the report holds no user names.
Exit codes: 0 a GPU can be used and nothing is wrong, 1 there is none or something is wrong, 2 unusable input."""
_RECORD = """Measures a real NVIDIA GPU (a few minutes), writes its recording, and prints our estimates beside the times.
Exit codes: 0 written, 2 there is no real GPU or the file exists, 130 interrupted; nothing is written then."""
_SHARE = """Times this machine, adds your bets and your progress, shows all of it, then asks whether to write it. The file is for
your instructor and holds no names unless you give one. Exit codes: 0 written, 1 not written, 2 unusable input."""
_SIZES = (
    ("rows", 100, "rows of data"),
    ("width", 10, "features of a row"),
    ("outputs", 2, "outputs of the model"),
    ("epochs", 5, "training steps before the loss is read"),
    ("repeats", None, "timed training steps"),
    ("seed", 0, "seed of weights and data"),
)


def _compare(options: argparse.Namespace) -> int:
    from . import session, variants

    sizes = {name: getattr(options, name) for name, _, _ in _SIZES}
    variants.Setting(**sizes)  # an unusable size is said before anything is simulated
    sentence = session.prepare(options.gpu, use_mps=True)
    if not options.json:
        print(sentence, end="\n\n", flush=True)
    result = variants.compare(sizes.pop("rows"), sizes.pop("width"), **sizes)
    print(result.to_json() if options.json else result)
    return 0


def _run(options: argparse.Namespace) -> int:
    from . import runner

    return runner.main(options.words, whole=True)


def _explain(options: argparse.Namespace) -> int:
    from .explain.command import main as explain

    return explain(options.file, options.json)


def _doctor(options: argparse.Namespace) -> int:
    from .doctor import doctor

    report = doctor(options.script)
    print(report.to_json() if options.json else report)
    return report.exit_code


def _record(options: argparse.Namespace) -> int:
    from .record import record

    record(options.out, quick=options.quick, replace=options.replace)
    return 0


def _share(options: argparse.Namespace) -> int:
    from .course.share.command import main as share

    return share(options.out, options.name, options.gpu, options.yes)
