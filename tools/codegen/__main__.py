"""Every generator of the house: `python -m tools.codegen` writes, `python -m tools.codegen --check` compares."""

from __future__ import annotations

import sys

from tools.codegen import admin_api, completion, coordinator_records, error_codes, messages

if __name__ == "__main__":
    sys.exit(max(error_codes.main(), messages.main(), coordinator_records.main(), admin_api.main(), completion.main()))
