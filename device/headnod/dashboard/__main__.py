"""The process of `headnod listen --web`: serves the page of the listener that started it.

Standard input is the socket of the listener, and its first message the settings.
"""

from __future__ import annotations

import logging
import os
import socket
import sys

from headnod.dashboard.page_process import read_settings, run_page
from headnod.errors import HeadnodError
from headnod.log import formatter

_STDERR = 2


def main() -> int:
    """Serve until the listener ends; returns the exit status."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(_STDERR, os.environ.get("JOURNAL_STREAM", "")))
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    try:
        with socket.socket(fileno=os.dup(sys.stdin.fileno())) as connection:
            settings = read_settings(connection)
            logging.getLogger().setLevel(settings.log_level)
            run_page(settings, connection)
    except HeadnodError as error:
        logging.getLogger(__name__).error("%s", error)  # noqa: TRY400 - no traceback for a person
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
