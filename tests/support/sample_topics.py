"""What the samples of sources tell about."""

from __future__ import annotations

TOPICS = [
    ("배나무", "pear tree", "배나무는 봄에 하얀 꽃이 피고 가을에 단 열매를 맺는 나무이다", "A pear tree flowers white in spring and bears sweet fruit in autumn"),
    ("빵", "bread", "빵은 밀가루와 물을 반죽하여 뜨거운 오븐에서 구워 만든다", "Bread is made of flour and water, kneaded and baked in a hot oven"),
    ("전차", "tram", "전차는 도시의 역과 항구를 잇는 철길 위를 천천히 달린다", "Trams run slowly on rails that join the station and the harbour"),
    ("밀물", "tide", "밀물과 썰물은 달이 바닷물을 끌어당기기 때문에 생긴다", "Tides rise and fall because the moon pulls the water of the sea"),
    ("도자기", "pottery", "도자기는 흙을 빚어 말린 뒤에 가마에서 높은 온도로 구운 것이다", "Pottery is clay that was shaped, dried and fired in a kiln at high heat"),
    ("꿀벌", "honey bee", "꿀벌은 춤을 추어 꽃이 있는 방향과 거리를 무리에 알린다", "Honey bees dance to tell the swarm how far and where the flowers are"),
]  # fmt: skip


COUNT = 60


def topic(i: int, lang: str) -> tuple[str, str]:
    """(title, a text of two paragraphs) number ``i``, all different."""
    ko, en, ko_text, en_text = TOPICS[i % len(TOPICS)]
    if lang == "ko":
        return f"{ko} {i}번", f"{ko_text}. 이것은 {i}번 글이다.\n\n{i}번 글의 둘째 문단은 {ko}의 쓰임새를 이야기한다."
    return f"{en} no. {i}", f"{en_text}. This is text {i}.\n\nThe second paragraph of text {i} is about uses of {en}."
