"""A hub that lies: real agents, a real hub, and between them a program that edits what the hub says.

chaos/liar.py  the program: it forwards what it is asked, and lets rules change, swallow, repeat or delay it
chaos/lies.py  rules that many lies are made of: one function each
agents.py      an agent in this process, with what it logged
test_*.py      one file for each family of lies, with the rules that only it needs
"""
