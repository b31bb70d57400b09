"""What can be asked, and how an answer is checked."""
