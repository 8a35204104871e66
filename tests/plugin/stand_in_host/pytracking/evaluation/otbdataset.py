"""The table of a data set; the plugin's check reads the names of the ground-truth files out of it."""

SEQUENCES = [
    {"name": "Square", "path": "Square/img", "anno_path": "Square/groundtruth_rect.txt"},
    {"name": "Other", "path": "Other/img", "anno_path": "Other/groundtruth_rect.txt"},
]
