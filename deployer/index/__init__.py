"""The index: its layout, creation, pipelines, generations, copy and alias switch."""
