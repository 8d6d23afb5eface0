"""``python -m noli`` is the command line."""

import sys

from noli.cli.main import main

sys.exit(main())
