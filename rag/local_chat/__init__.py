"""A chat model of transformers in this process, behind the ChatModel Protocol; made by `choose`."""
