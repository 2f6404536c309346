"""Reading reports with language models: requests, answers, and running thousands of them."""
