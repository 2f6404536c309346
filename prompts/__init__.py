"""Text and tables to prompts: what is asked of the factory."""
