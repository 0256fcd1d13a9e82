"""What users get in writing, in plain Chinese and English: a self-contained page each, to be read and printed."""
