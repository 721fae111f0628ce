"""Whether the calls in our source exist in every version of the packages that it supports."""
