"""The messages of pystream.admin.v1: .proto files, and what protoc makes of them."""
