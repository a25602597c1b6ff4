"""The course's notebooks and generated pages: how they are read, run, cut and written."""

import sys

# nbformat imports jsonschema, which builds 38 grammars for IRIs where it finds this package: 1.3 s of the processor in
# each Python. No notebook has an IRI to check, so the package is not found.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
