"""How osparse's pictures look, light and dark, and how they draw text of any script. Needs matplotlib."""
