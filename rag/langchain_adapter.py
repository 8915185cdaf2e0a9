"""Chat models of LangChain as ChatModel: the one file that imports `langchain_core`."""
