"""The studio: a page on this machine where a person looks at clips and tries prompts on them."""
