"""The model served by vLLM: a server that Quintet starts and watches, or one that it is pointed at."""
