"""What brings a release to a server of its own, and proves it there."""
