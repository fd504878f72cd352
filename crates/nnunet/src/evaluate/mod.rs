//! Segmentations against references: overlap per case and class, summary.json.
