"""``python -m motivnet_training``: the ``motivnet-train`` command."""

from motivnet_training.cli import main

if __name__ == "__main__":
    main()
