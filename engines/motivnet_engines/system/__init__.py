"""This machine: processor, memory, GPU and driver, installed packages, private folders."""
