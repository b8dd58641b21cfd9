"""What shows a `Summary` or a `Comparison`: terminal, markdown, figures, the page. Computes no figure of its own."""
