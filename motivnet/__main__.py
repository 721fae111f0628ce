"""``python -m motivnet``: the ``motivnet`` command.

Named and not imported: the command belongs to the engines, which this package knows nothing of.
"""

import runpy

if __name__ == "__main__":
    runpy.run_module("motivnet_engines.cli", run_name="__main__")
