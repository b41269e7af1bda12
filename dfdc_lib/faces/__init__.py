"""Videos in; faces, crops and masks out."""
