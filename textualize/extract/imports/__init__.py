"""What a lab already extracted, as sensors that read files beside the media: one file per format."""
