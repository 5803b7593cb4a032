"""Starting Mercer on one machine (`local`), and making its databases exist anywhere (`provision`)."""

import sys

# Here, because everything below uses what older versions cannot even read.
if sys.version_info < (3, 11):  # noqa: UP036 - `make` starts us on whatever Python there is
    sys.exit("Mercer needs Python 3.11 or newer. PYTHON=/path/to/python3.11 make ... chooses one.")
