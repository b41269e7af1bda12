"""Find faces, cut them out, and compare fakes with originals. Input: videos. Output: boxes, crops and masks."""
