"""``python -m motivnet_bench``: the ``motivnet-bench`` command."""

from motivnet_bench.cli import main

if __name__ == "__main__":
    main()
