"""``python -m motivnet_engines.cli``: the ``motivnet`` command."""

from motivnet_engines.cli import main

main()
