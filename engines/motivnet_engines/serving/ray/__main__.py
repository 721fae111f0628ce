"""``python -m motivnet_engines.serving.ray``: predictions for a dataset."""

from motivnet_engines.serving.ray.cli import main

if __name__ == "__main__":
    main()
