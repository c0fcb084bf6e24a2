"""HTTP in: verifies, parses, fixes the order, answers. Imports core, never worker."""
