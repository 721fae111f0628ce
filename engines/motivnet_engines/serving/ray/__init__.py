"""An artifact on many machines by Ray: a Ray Serve application, and a Ray Data pipeline for millions of images."""
