"""Study: how much of its score a student keeps, by the way it was made and by how much faster it must be."""
