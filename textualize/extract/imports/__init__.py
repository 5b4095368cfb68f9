"""What a lab already extracted: sensors that read files beside the media, one file per format."""
