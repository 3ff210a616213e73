"""What the words of a prompt mean to the mock engine: the tables that `styles` reads. Data alone."""

from enum import StrEnum

Colour = tuple[int, int, int]
"""RGB, 0-255."""


class Medium(StrEnum):
    """What a picture is made with."""

    WATERCOLOUR = "watercolour"
    INK = "ink"
    NEON = "neon"
    OIL = "oil"
    PENCIL = "pencil"
    CHARCOAL = "charcoal"
    PASTEL = "pastel"
    COMIC = "comic"
    CYANOTYPE = "cyanotype"
    BLUEPRINT = "blueprint"
    PIXEL = "pixel"
    MOSAIC = "mosaic"
    GLASS = "glass"
    ENGRAVING = "engraving"
    FILM = "film"


MEDIUM_WORDS: dict[Medium, tuple[str, ...]] = {
    Medium.WATERCOLOUR: ("watercolour", "watercolor", "watercolours", "watercolors", "aquarelle", "gouache", "wash"),
    Medium.INK: ("ink", "sumi", "sumie", "calligraphy", "brushpen", "manga", "zen"),
    Medium.NEON: ("neon", "cyberpunk", "synthwave", "vaporwave", "glowing", "tron", "hologram", "laser"),
    Medium.OIL: (
        "oil",
        "impressionist",
        "impressionism",
        "impasto",
        "acrylic",
        "gogh",
        "monet",
        "painting",
        "rembrandt",
    ),
    Medium.PENCIL: ("pencil", "sketch", "graphite", "drawing", "doodle", "drawn"),
    Medium.CHARCOAL: ("charcoal", "conte", "chalkboard"),
    Medium.PASTEL: ("pastel", "pastels", "crayon", "chalk", "crayons"),
    Medium.COMIC: ("comic", "comics", "cartoon", "anime", "warhol", "lichtenstein", "halftone", "cel", "pop"),
    Medium.CYANOTYPE: ("cyanotype", "daguerreotype", "tintype"),
    Medium.BLUEPRINT: ("blueprint", "schematic", "technical", "diagram", "wireframe"),
    Medium.PIXEL: ("pixel", "pixels", "pixelart", "8bit", "16bit", "retro", "sprite", "gameboy", "voxel"),
    Medium.MOSAIC: ("mosaic", "mosaics", "tiles", "tesserae", "byzantine"),
    Medium.GLASS: ("stained", "glass", "cathedral", "tiffany"),
    Medium.ENGRAVING: (
        "engraving",
        "engraved",
        "woodcut",
        "linocut",
        "etching",
        "etched",
        "banknote",
        "lithograph",
        "print",
    ),
    Medium.FILM: (
        "film",
        "cinematic",
        "photo",
        "photograph",
        "photorealistic",
        "realistic",
        "movie",
        "kodak",
        "polaroid",
    ),
}

UNKNOWN_MEDIA = (
    Medium.WATERCOLOUR,
    Medium.OIL,
    Medium.PASTEL,
    Medium.INK,
    Medium.COMIC,
    Medium.NEON,
    Medium.ENGRAVING,
    Medium.MOSAIC,
)
"""What a prompt that names no medium may become, by its hash."""

COLOUR_WORDS: dict[str, tuple[Colour, Colour, Colour]] = {
    "dusk": ((36, 26, 78), (206, 92, 112), (255, 208, 146)),
    "sunset": ((58, 20, 62), (232, 92, 58), (255, 216, 128)),
    "dawn": ((44, 52, 96), (222, 140, 142), (255, 232, 196)),
    "night": ((8, 12, 38), (44, 66, 134), (188, 206, 244)),
    "moonlight": ((10, 16, 40), (74, 96, 142), (222, 232, 250)),
    "winter": ((30, 46, 78), (128, 162, 196), (242, 249, 255)),
    "snow": ((38, 54, 84), (150, 178, 204), (250, 252, 255)),
    "ice": ((16, 52, 84), (104, 184, 212), (236, 252, 255)),
    "autumn": ((60, 26, 16), (196, 98, 34), (252, 212, 126)),
    "fall": ((60, 26, 16), (196, 98, 34), (252, 212, 126)),
    "spring": ((44, 70, 56), (134, 182, 110), (255, 228, 232)),
    "summer": ((18, 66, 96), (92, 176, 132), (255, 240, 170)),
    "gold": ((50, 28, 10), (190, 132, 38), (255, 232, 150)),
    "golden": ((50, 28, 10), (190, 132, 38), (255, 232, 150)),
    "red": ((52, 6, 14), (204, 40, 42), (255, 216, 190)),
    "fire": ((44, 6, 6), (226, 74, 22), (255, 226, 110)),
    "rose": ((70, 20, 46), (214, 104, 130), (255, 226, 224)),
    "pink": ((78, 22, 70), (232, 116, 168), (255, 228, 238)),
    "purple": ((34, 14, 66), (130, 78, 178), (238, 216, 250)),
    "violet": ((34, 14, 66), (130, 78, 178), (238, 216, 250)),
    "blue": ((10, 24, 70), (58, 116, 190), (220, 238, 252)),
    "ocean": ((6, 36, 62), (34, 128, 150), (216, 244, 236)),
    "sea": ((6, 36, 62), (34, 128, 150), (216, 244, 236)),
    "teal": ((6, 42, 50), (36, 138, 136), (214, 244, 232)),
    "green": ((12, 44, 30), (76, 146, 76), (230, 244, 200)),
    "forest": ((14, 36, 26), (72, 122, 66), (226, 232, 178)),
    "emerald": ((4, 44, 36), (26, 148, 108), (206, 246, 222)),
    "desert": ((70, 36, 26), (206, 140, 84), (252, 230, 186)),
    "sepia": ((44, 28, 16), (150, 112, 74), (246, 230, 202)),
    "noir": ((8, 8, 12), (104, 104, 110), (240, 240, 238)),
    "monochrome": ((16, 16, 18), (124, 124, 124), (246, 246, 244)),
    "candy": ((86, 32, 120), (252, 116, 170), (190, 250, 236)),
    "orange": ((66, 24, 10), (232, 122, 36), (255, 228, 176)),
    "yellow": ((70, 50, 8), (224, 178, 40), (255, 246, 186)),
    "white": ((92, 94, 104), (190, 190, 196), (255, 255, 255)),
    "black": ((4, 4, 8), (54, 54, 60), (206, 206, 210)),
}
"""Shadows, middle tones and lights."""


class Scene(StrEnum):
    """What a prompt without a camera shows."""

    CITY = "city"
    HILLS = "hills"
    SEA = "sea"
    FOREST = "forest"
    COSMOS = "cosmos"


SCENE_WORDS: dict[Scene, tuple[str, ...]] = {
    Scene.CITY: (
        "city",
        "street",
        "skyline",
        "town",
        "tokyo",
        "paris",
        "buildings",
        "harbour",
        "cyberpunk",
        "metropolis",
    ),
    Scene.HILLS: (
        "hills",
        "mountain",
        "mountains",
        "valley",
        "landscape",
        "alps",
        "desert",
        "dunes",
        "fields",
        "meadow",
    ),
    Scene.SEA: ("sea", "ocean", "beach", "waves", "water", "lake", "coast", "island", "river", "boat"),
    Scene.FOREST: ("forest", "trees", "woods", "jungle", "garden", "park", "bamboo"),
    Scene.COSMOS: ("space", "galaxy", "nebula", "stars", "cosmos", "abstract", "dream", "universe", "planet", "aurora"),
}
