"""The folder of a model for the browser, as ``motivnet-export build --target web`` writes it."""
