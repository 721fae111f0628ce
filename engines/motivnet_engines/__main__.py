"""``python -m motivnet_engines``: the ``motivnet`` command."""

from motivnet_engines.cli import main

if __name__ == "__main__":
    main()
