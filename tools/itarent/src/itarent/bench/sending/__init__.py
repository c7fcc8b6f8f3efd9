"""What `bench sender` measures, a part each."""
