"""What `sisters` can be asked beside running a process."""
