"""Static curation: a data set is streamed through filters, and what is left out is kept with its reason."""
