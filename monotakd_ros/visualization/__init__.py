"""Pictures of frames and boxes: camera overlay, view from above, video and strip. Pixels only, no files' meaning."""
