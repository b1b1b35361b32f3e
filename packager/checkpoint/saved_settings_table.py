"""Every key that sentence-transformers 6 and transformers 5 save with a sparse model, and what becomes of it.

Read in their source: ``base/model.py``, ``sparse_encoder/model.py``, ``base/modules/{transformer,router}.py``,
``sparse_encoder/modules``, ``tokenization_utils_base.py`` and ``tokenization_utils_tokenizers.py``.
"""

from __future__ import annotations

from typing import Any

from osparse.packager.checkpoint.saved_settings import Setting

MODULES = "modules.json"
MODEL = "config_sentence_transformers.json"
TRANSFORMER = "sentence_bert_config.json"
POOLING = "SpladePooling/config.json"
STATIC = "SparseStaticEmbedding/config.json"
ROUTER = "router_config.json"
ROUTER_PARAMETERS = "router_config.json parameters"
TOKENIZER = "tokenizer_config.json"
CONFIG = "config.json"
TRANSFORMER_NAMES = (
    TRANSFORMER, "sentence_roberta_config.json", "sentence_distilbert_config.json", "sentence_camembert_config.json",
    "sentence_albert_config.json", "sentence_xlm-roberta_config.json", "sentence_xlnet_config.json",
)  # fmt: skip
"""Where sentence-transformers looks for the transformer's settings, in this order."""
PROCESSOR_KEYS = frozenset(
    "model_max_length do_lower_case strip_accents tokenize_chinese_chars add_prefix_space truncation_side padding_side "
    "use_fast".split()
)
"""Keyword arguments of AutoTokenizer that a folder may save."""
REFUSED_FILES = {
    "adapter_config.json": "an adapter changes the weights when the library loads them: merge it into the model first",
    "processor_config.json": "the library would read texts through a multimodal processor",
    "preprocessor_config.json": "the library would read texts through a multimodal processor",
}
_LIBRARY = "transformers builds the tokenizer from it; that tokenizer is packaged"
_CALL = "saved from a call; transformers does not use it when the tokenizer is called again"


def _empty(value: Any) -> bool:
    return value is None or value == {}


def _no_text(value: Any) -> bool:
    return value is None or value == ""


def _length(value: Any) -> bool:
    return value is None or type(value) is int and value >= 2


def _positive(value: Any) -> bool:
    return value is None or type(value) is int and value >= 1


def _prompts(value: Any) -> bool:
    return isinstance(value, dict) and all(v is None or isinstance(v, str) for v in value.values())


def _model_arguments(value: Any) -> bool:
    """Only what changes the speed."""
    return value is None or isinstance(value, dict) and set(value) <= {"attn_implementation", "device_map"}


def _processor_arguments(value: Any) -> bool:
    return value is None or isinstance(value, dict) and set(value) <= PROCESSOR_KEYS


def _config_arguments(value: Any) -> bool:
    return value is None or isinstance(value, dict) and set(value) <= {"use_cache"}


def _text_logits(value: Any) -> bool:
    return bool(value == {"text": {"method": "forward", "method_output_name": "logits"}})


def _is(*accepted: Any) -> Any:
    return lambda value: any(type(value) is type(one) and value == one for one in accepted)


SETTINGS: tuple[Setting, ...] = (
    Setting(MODULES, "type", "baked in", "Transformer or MLMTransformer, then SpladePooling, or one Router; any other "
            "module, and code of the folder's own, is refused"),
    Setting(MODULES, "path", "baked in", "where the module's files are; a path out of the folder is refused"),
    Setting(MODULES, "idx", "refused", "the library applies modules in the order of the file",
            requires="the order of the file"),
    Setting(MODULES, "name", "without effect", "a label"),
    Setting(MODULES, "kwargs", "without effect", "names of call arguments that these modules do not have"),
    Setting(MODEL, "model_type", "refused", "the library would put other modules around the transformer",
            _is("SparseEncoder", None), "SparseEncoder"),
    Setting(MODEL, "prompts", "baked in", "a document prompt becomes ids that the tokenizer puts before each text, if "
            "it splits there exactly (WordPiece, a prompt that ends in a space), and is refused otherwise; a query "
            "prompt is refused; encode_document and encode_query read no other", _prompts, "texts by name"),
    Setting(MODEL, "default_prompt_name", "without effect", "encode_document and encode_query always name a prompt"),
    Setting(MODEL, "similarity_fn_name", "refused", "OpenSearch scores by the dot product", _is("dot", None),
            "dot or null"),
    Setting(MODEL, "max_active_dims", "baked in", "head.top_k of the graph; special tokens compete for it, as in the "
            "library. With a Router it would also cut queries, and is refused below 510", _positive,
            "null or a whole number of at least 1"),
    Setting(MODEL, "truncate_dim", "refused", "a sparse vector has no leading part", _is(None), "null"),
    Setting(MODEL, "requirements", "without effect", "versions that the author asks for"),
    Setting(MODEL, "__version__", "without effect", "versions that saved the folder"),
    Setting(TRANSFORMER, "transformer_task", "refused", "only masked-LM logits are pooled", _is("fill-mask"),
            "fill-mask"),
    Setting(TRANSFORMER, "modality_config", "refused", "only logits of text are pooled", _text_logits,
            "text, by forward, with logits"),
    Setting(TRANSFORMER, "module_output_name", "refused", "SpladePooling reads token_embeddings",
            _is("token_embeddings"), "token_embeddings"),
    Setting(TRANSFORMER, "max_seq_length", "baked in", "head.max_length, at most the model's positions and the "
            "server's 512", _length, "null or a whole number of at least 2"),
    Setting(TRANSFORMER, "document_length", "baked in", "head.max_length; goes before max_seq_length", _length,
            "null or a whole number of at least 2"),
    Setting(TRANSFORMER, "do_lower_case", "baked in", "a Lowercase normalizer in tokenizer.json, before the others",
            _is(True, False), "true or false"),
    Setting(TRANSFORMER, "processor_kwargs", "baked in", "arguments of AutoTokenizer, whose tokenizer is packaged",
            _processor_arguments, f"nothing but {', '.join(sorted(PROCESSOR_KEYS))}"),
    Setting(TRANSFORMER, "tokenizer_args", "baked in", "the older name of processor_kwargs", _processor_arguments,
            f"nothing but {', '.join(sorted(PROCESSOR_KEYS))}"),
    Setting(TRANSFORMER, "model_kwargs", "refused", "arguments that may change the weights", _model_arguments,
            "nothing but attn_implementation and device_map"),
    Setting(TRANSFORMER, "model_args", "refused", "the older name of model_kwargs", _model_arguments,
            "nothing but attn_implementation and device_map"),
    Setting(TRANSFORMER, "config_kwargs", "refused", "arguments that may change the model", _config_arguments,
            "nothing but use_cache"),
    Setting(TRANSFORMER, "config_args", "refused", "the older name of config_kwargs", _config_arguments,
            "nothing but use_cache"),
    Setting(TRANSFORMER, "processing_kwargs", "refused", "arguments of each call of the tokenizer", _empty,
            "nothing; set max_seq_length for a length"),
    Setting(TRANSFORMER, "tokenizer_name_or_path", "refused", "a tokenizer of another folder", _no_text,
            "null; save the tokenizer with the model"),
    Setting(TRANSFORMER, "query_length", "without effect", "queries do not go through the transformer"),
    Setting(TRANSFORMER, "query_expansion", "without effect", "queries do not go through the transformer"),
    Setting(TRANSFORMER, "unpad_inputs", "without effect", "padding is masked either way"),
    Setting(TRANSFORMER, "backend", "without effect", "the library takes it from its caller"),
    Setting(POOLING, "pooling_strategy", "refused", "the graph takes the largest weight of a token, and has no sum",
            _is("max"), "max; train a max-pooled model"),
    Setting(POOLING, "activation_function", "baked in", "head.activation", _is("relu", "log1p_relu"),
            "relu or log1p_relu"),
    Setting(POOLING, "embedding_dimension", "without effect", "the width is the decoder's"),
    Setting(POOLING, "word_embedding_dimension", "without effect", "the older name of embedding_dimension"),
    Setting(POOLING, "chunk_size", "without effect", "how many tokens are pooled at a time"),
    Setting(STATIC, "frozen", "without effect", "training only"),
    Setting(STATIC, "path", "refused", "read from where the program runs, not from the folder", _no_text,
            "null; save the model again, with its weights"),
    Setting(ROUTER, "types", "baked in", "the kind of each module"),
    Setting(ROUTER, "structure", "baked in", "the modules of each route"),
    Setting(ROUTER, "parameters", "baked in", "below"),
    Setting(ROUTER_PARAMETERS, "route_mappings", "baked in", "the route of the tasks document and query"),
    Setting(ROUTER_PARAMETERS, "default_route", "without effect", "only for texts without a task"),
    Setting(ROUTER_PARAMETERS, "allow_empty_key", "without effect", "only for texts without a task"),
    Setting(TOKENIZER, "model_max_length", "baked in", "head.max_length, where sentence-transformers' own settings do "
            "not say; of a SparseStaticEmbedding the length of queries"),
    Setting(TOKENIZER, "max_len", "baked in", "the older name of model_max_length"),
    Setting(TOKENIZER, "truncation_side", "refused", "the server and osparse cut at the end", _is("right"), "right"),
    Setting(TOKENIZER, "split_special_tokens", "refused", "a tokenizer.json cannot say that special tokens in a text "
            "are split", _is(False, None), "false"),
    Setting(TOKENIZER, "padding_side", "without effect", "texts are encoded one by one, and padding is masked"),
    Setting(TOKENIZER, "auto_map", "refused", "the folder's own code is never run", _empty, "nothing"),
    *(Setting(TOKENIZER, key, "baked in", _LIBRARY) for key in (
        "tokenizer_class", "do_lower_case", "strip_accents", "tokenize_chinese_chars", "keep_accents", "lowercase",
        "add_prefix_space", "trim_offsets", "added_tokens_decoder", "extra_special_tokens",
        "additional_special_tokens", "model_specific_special_tokens", "*_token", "add_bos_token", "add_eos_token",
        "wordpieces_prefix", "unk_id", "vocab_type", "split_by_punct", "add_dummy_prefix", "legacy",
        "from_slow", "clean_text", "fix_mistral_regex", "errors", "use_fast", "backend", "init_inputs",
    )),
    *(Setting(TOKENIZER, key, "without effect", _CALL) for key in (
        "max_length", "stride", "truncation_strategy", "pad_to_multiple_of", "pad_token_type_id", "padding",
        "truncation", "return_token_type_ids",
    )),
    *(Setting(TOKENIZER, key, "without effect", "decoding only") for key in (
        "clean_up_tokenization_spaces", "spaces_between_special_tokens",
        "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output",
    )),
    *(Setting(TOKENIZER, key, "without effect", "chats only") for key in (
        "chat_template", "response_template", "response_schema", "chat_control_tokens",
    )),
    *(Setting(TOKENIZER, key, "without effect", "tokenizers without tokenizer.json only") for key in (
        "do_basic_tokenize", "never_split", "sp_model_kwargs", "full_tokenizer_file", "special_tokens_map_file",
        "tokenizer_file", "vocab_file", "merges_file", "remove_space", "do_word_tokenize", "do_subword_tokenize",
        "word_tokenizer_type", "subword_tokenizer_type", "mecab_kwargs", "normalization",
    )),
    *(Setting(TOKENIZER, key, "without effect", "where the tokenizer came from") for key in (
        "name_or_path", "is_local", "local_files_only", "processor_class", "transformers_version", "_commit_hash",
        "is_fast", "verbose",
    )),
    Setting(TOKENIZER, "model_input_names", "refused", "the graph has ids and mask, and token types that are zero",
            lambda value: isinstance(value, list) and {"input_ids", "attention_mask"} <= set(value)
            and set(value) <= {"input_ids", "attention_mask", "token_type_ids"}, "input_ids and attention_mask"),
    Setting("special_tokens_map.json", "*", "baked in", _LIBRARY),
    Setting("added_tokens.json", "*", "baked in", _LIBRARY),
    Setting("tokenizer.json", "normalizer", "baked in", "as transformers builds it: tokenizer_config.json goes before "
            "tokenizer.json where the two disagree"),
    Setting("tokenizer.json", "pre_tokenizer", "baked in", "as the normalizer"),
    Setting("tokenizer.json", "post_processor", "baked in", "as the normalizer"),
    Setting("tokenizer.json", "added_tokens", "baked in", "as the normalizer"),
    Setting("tokenizer.json", "model", "baked in", "as the normalizer"),
    Setting("tokenizer.json", "truncation", "without effect", "the library cuts at model_max_length; a direction other "
            "than right is refused"),
    Setting("tokenizer.json", "padding", "without effect", "padding is masked"),
    Setting("tokenizer.json", "decoder", "without effect", "dropped: the server must see raw tokens"),
    Setting(CONFIG, "dtype", "without effect", "weights are read as saved and computed with in float32"),
    Setting(CONFIG, "torch_dtype", "without effect", "the older name of dtype"),
    Setting(CONFIG, "quantization_config", "refused", "the weights are not numbers that a graph can hold", _empty,
            "nothing; save the model unquantised"),
    Setting(CONFIG, "auto_map", "without effect", "the folder's own code is never run; an unknown model_type is "
            "refused"),
    *(Setting(CONFIG, key, "without effect", "what a call returns; logits are the same") for key in (
        "return_dict", "output_hidden_states", "output_attentions", "torchscript", "use_cache",
    )),
    *(Setting(CONFIG, key, "without effect", "other heads, and where the model came from")
      for key in (
        "id2label", "label2id", "problem_type", "num_labels", "finetuning_task", "task_specific_params",
        "classifier_dropout", "architectures", "transformers_version", "_name_or_path", "_commit_hash",
    )),
    Setting(CONFIG, "*", "baked in", "transformers builds the model from it, whose layers are exported"),
    *(Setting(name, "(the file)", "refused", why, requires="no such file") for name, why in REFUSED_FILES.items()),
)  # fmt: skip
"""In the order in which docs/bundle.md shows them; the first row whose key fits decides."""
