"""The paper's three criteria: is a MotivNet a viable Sapiens task?"""
