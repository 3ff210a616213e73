"""These tests need Triton's interpreter: `test_interpreted` runs them in a process that has it."""

import os

collect_ignore_glob = [] if os.environ.get("TRITON_INTERPRET") == "1" else ["test_*.py"]
