"""``python -m motivnet_export``: the ``motivnet-export`` command."""

from motivnet_export.cli import main

if __name__ == "__main__":
    main()
