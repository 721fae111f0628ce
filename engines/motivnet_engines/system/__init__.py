"""What this machine is: processor, GPU and driver, Jetson, the user's cache folder."""
