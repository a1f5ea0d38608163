"""
C{python -m twisted_tcpdemo}, and the console script C{tcpdemo}.
"""

import sys

from twisted_tcpdemo.cli import main

if __name__ == "__main__":
    sys.exit(main())
