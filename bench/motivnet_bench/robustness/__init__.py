"""What a model's answers withstand: turned, shifted, blurred, compressed, dark, small, covered."""
