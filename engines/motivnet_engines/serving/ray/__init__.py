"""An artifact on many machines with Ray: a Ray Serve application, and a dataset pipeline."""
