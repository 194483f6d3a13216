"""The catalogue between processes: one decides, the others follow, answer by what they have only as long as they may, and have it decide what they are asked.

Sans-IO: what a Link brings is handed in, and what is to be sent is handed to the Link. Who is dead, who decides, and who has a link with whom is told here.
"""
